print("netmap")
