"""A made-up world in the forms of real datasets: methods can be trained without downloads."""
