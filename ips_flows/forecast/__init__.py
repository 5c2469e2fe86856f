"""What a task would do and meet, told before it is submitted: nothing here changes anything."""
