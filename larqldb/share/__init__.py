"""Vindexes that travel: to repositories of the Hugging Face hub, and from them."""
