"""Users' templates: rendered in a sandbox, within a budget, and checked to be a subject and a body."""
