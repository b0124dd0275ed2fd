"""Work, or a plan, and a device make a cost: operations, bytes, seconds, joules, dollars."""
