"""Endpoints: a request's route, a pattern of the configuration, or a template of its path."""
