"""The direct way to the server: the calling thread sends the frames of a call itself, and reads their answers.

The driver's event loop costs each request two changes of threads, which take longer than the server. So the hot statements
travel over connections of their own. Everything rare stays the driver's: discovery, handshake, TLS, authentication, preparing,
schema, retries; and whatever is unusual on the direct way goes through the driver once more.
"""
