"""The same simulated WeChat Pay on API v2: XML, a shared key, mutual TLS for what gives money back.

Written from the facts of API v2; it shares no code with Qiao's own channel.
"""
