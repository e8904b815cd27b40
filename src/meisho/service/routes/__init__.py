"""Routes: one module per thing that is asked for; `meisho.service.app.ROUTERS` lists them."""
