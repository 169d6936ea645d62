"""Visitors of the sites behind the edge: a seeded open-loop schedule, carried out by Locust's users."""
