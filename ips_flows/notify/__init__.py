"""Tells a webhook of a task's end: the messages, their signature, whom they may go to, and the delivery."""
