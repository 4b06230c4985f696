"""The application: business services built on nooble_tasks, one folder each. Never part of the wheel."""
