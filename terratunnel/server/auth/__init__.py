"""Who may connect. The acceptor asks an Authenticator; accounts plug in here.

Nothing of it is on the road: an agent is asked once, when it connects.
"""
