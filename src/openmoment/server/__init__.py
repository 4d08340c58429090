"""The local server and its page: look at what was found, correct it, take it elsewhere.

`openmoment.server.app.create_app` makes the ASGI application of one folder. It needs the extra
``server``; the work itself runs in processes of `openmoment.server.work.worker`.
"""
