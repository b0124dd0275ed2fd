"""What does learning cost, and what is the cheapest way to get it?"""
