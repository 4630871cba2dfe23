import Netmap
