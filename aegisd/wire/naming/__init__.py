"""Names endpoints: request blocks in, the same blocks with the column ``endpoint`` out.

An endpoint is a request's route, a pattern of the configuration, or a template of its path.
"""
