"""Mock origin sites: the customers' servers behind the edge, many sites by Host in one process."""
