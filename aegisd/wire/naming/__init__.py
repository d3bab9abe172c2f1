"""Endpoints' names: a gateway's route, a pattern of the configuration, or a template."""
