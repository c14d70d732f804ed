"""Web: streams of WebSockets and of server-sent events, and the firehoses that have them."""
