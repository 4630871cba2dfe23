/// The help text of `-h`.
package enum Usage {
  package static let text = """
    Usage: pkt-gen -i PORT [-f tx|rx|ping|pong|txseq|rxseq] [OPTIONS]

    Sends and receives packets through a netmap port. Numbers may end in k or K (1000), M (1000000)
    or G (1000000000).

    Port and function
      -i PORT      netmap:NAME, valeSWITCH:PORT, NAME{PIPE, NAME}PIPE, or null; a name without
                   prefix means netmap:NAME
      -f FUNCTION  rx (default), tx, ping, pong, txseq, rxseq
      -n COUNT     packets to send or receive, or ping requests; 0: no limit (default)
      -b BURST     packets in a batch (default 512; 1 for ping and pong)
      -R RATE      packets per second for each thread; 0: as fast as possible (default)
      -W           rx, rxseq: end after a second without traffic
      -w SECONDS   wait for the link after opening (default 2 where a link may go down, else 0)

    Packets
      -l SIZE      bytes without CRC, 16...65536 (default 60); a second -l is the smallest size,
                   and sizes are random
      -4, -6       IPv4 (default) or IPv6
      -s, -d ADDR[:PORT][-ADDR[:PORT]]
                   source and destination, or a range of them (default 10.0.0.1, 10.1.0.1);
                   IPv6: [GROUP@]ADDR or [GROUP@]'['ADDR']':PORT (default fd00::1, fd00:1::1)
      -z, -Z       random source or destination addresses and ports
      -S, -D MAC   Ethernet addresses (default: that of the interface, and broadcast)
      -P FILE      send the first packet of a pcap file
      -H LENGTH    virtio-net header of the packets of a switch port: 10 or 12 bytes
                   (default 0: ask the port)
      -F COUNT     slots per packet, 1...63
      -M SIZE      maximum number of bytes in a slot
      -I           indirect buffers (VALE ports only)
      -r           send buffers with their present contents
      -o BITS      1 prefetch, 2 access, 4 copy, 8 memcpy, 32 indirect, 64 dump, 256 rubbish,
                   512 random source, 1024 random destination, 2048 statistics,
                   4096 update headers for random sizes

    Threads and rings
      -p THREADS   one ring each (default 1, for all rings)
      -c CPUS      CPUs to use; 0: all (default 1)
      -a CPU       CPU of the first thread; the other threads use the CPUs after it
      -C TXSLOTS[,RXSLOTS[,TXRINGS[,RXRINGS]]]
                   rings and slots of ports that the open creates

    Output
      -T MS        time between reports (default 1000)
      -X           dump packets
      -N           plain numbers, without K, M, G
      -A           mean and deviation of the last 15 reports
      -B           count CRC, preamble and gap in bit rates
      -v           list the rings of the port
      -h, --help   this text

    Additions to the traditional options
      --json             also print the results as one JSON object at the end
      --embedded         ports of this process alone, not those shared through netmapd(8)
      --busy-wait        never sleep; the default when called as pkt-gen-b
      --total-rate       -R is the rate of all threads together
      --size-per-packet  choose a random size for every packet, not for every batch

    Examples
      pkt-gen -i netmap:eth1 -f rx
      pkt-gen -i netmap:eth0 -f tx -n 1000000 -R 200000 -d 10.1.0.1-10.1.0.255
      pkt-gen -i netmap:eth0 -f tx -l 1514 -l 60 -o 4096 --size-per-packet
      pkt-gen -i vale0:a -f ping -n 10 --json
      pkt-gen -i null -f tx -n 100000000

    """
}
