"""Rivals under the same loads, each in an environment of its own: nothing here imports anything of ours."""
