"""The requests under /api, by what they are about: each file makes a router for a service."""

from openmoment.server.routes import about, files, jobs, reviews, videos

ROUTERS = (about.router, videos.router, jobs.router, reviews.router, files.router)
"""What makes the routers, given the service."""
