"""Carries operations through crashes: TaskFlow below, our own operation table as users' truth."""
