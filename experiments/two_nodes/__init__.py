"""Two nodes with a pod each: every network that there can be between them, in one rack and in two.

No experiment by itself: those that compare networks take their modes, specs and labs from here.
"""
