"""How do other programs see it? The HTTP API, the page and the metrics, over one client for each process.

A request passes `dispatch`: the route of `routes` by its path, the role of its token by `tokens`, its parameters by
`parameters`, the time and size by `limits`, then the route's handler. Whatever goes wrong is one of `problems`.
"""
