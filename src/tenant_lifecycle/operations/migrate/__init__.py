"""Move one tenant between two running environments with no downtime.

`definition` has the list of steps; each of the other modules tells one part of the story: `planning`,
`provision`, `copying` (feeds, copy, catch up), `proving`, `flip` and `turning` (the flip as a step),
`settling`, `leaving` (decommission and abort). `session` holds what runs meanwhile.
"""
