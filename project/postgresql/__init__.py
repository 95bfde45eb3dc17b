"""A Django database backend (ENGINE = "project.postgresql")."""
