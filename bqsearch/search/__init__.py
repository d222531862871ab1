"""The search: what is asked for, what may be chosen, who proposes, who scores, and what comes out."""
