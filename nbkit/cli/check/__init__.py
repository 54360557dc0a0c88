"""`nbkit verify` and `nbkit compare`: is a published run what its files say, and do two runs agree?"""
