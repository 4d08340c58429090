"""What verbs take alike: their options, stated once, and readers of what people name by them."""
