"""What a worker process of the server does."""
