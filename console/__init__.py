"""Watches a run from outside: collects, decides the status word, writes the record, serves the page."""
