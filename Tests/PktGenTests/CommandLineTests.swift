import Netmap
import Testing
import ToolSupport

@testable import PktGenCore

@Suite("The command line")
struct CommandLineTests {
  private func read(
    _ line: String, cpus: Int = 4, name: String = "pkt-gen", log: Recorder = Recorder()
  ) throws(Refusal) -> Configuration {
    let outcome = try CommandLineReader.read(
      line.split(separator: " ").map(String.init), program: name, cpuCount: cpus,
      log: ToolLog(to: log.sink))
    guard case .run(let configuration) = outcome else { throw Refusal("help") }
    return configuration
  }

  @Test("defaults")
  func defaults() throws {
    let log = Recorder()
    let configuration = try read("-i x", log: log)
    #expect(configuration.mode == .rx)
    #expect(configuration.interface == .netmap("netmap:x"))
    #expect(configuration.size == 60 && configuration.burst == 512)
    #expect(configuration.sourceText == "10.0.0.1" && configuration.destinationText == "10.1.0.1")
    #expect(configuration.threads == 1 && configuration.cpus == 1 && configuration.linkWait == nil)
    #expect(configuration.reportInterval == 1_000_000_000)
    for line in [
      "interface is x", "using default burst size: 512", "running on 1 cpus (have 4)",
      "range is 10.0.0.1:1234 to 10.0.0.1:1234",
    ] { #expect(log.has(line)) }
  }

  @Test(
    "-i: null, TAP, pcap, netmap, vale, and anything else",
    arguments: [
      ("null", .null), ("tap:x", .tap("x")), ("tap3", .tap("tap3")), ("pcap:x", .pcap("x")),
      ("netmap:x{1", .netmap("netmap:x{1")), ("vale0:a", .netmap("vale0:a")),
      ("eth0", .netmap("netmap:eth0")), ("nullx", .netmap("netmap:nullx")),
    ] as [(String, InterfaceName)])
  func interfaces(_ row: (text: String, name: InterfaceName)) throws {
    #expect(try read("-i \(row.text)").interface == row.name)
  }

  @Test("every option sets its value")
  func allOptions() throws {
    let configuration = try read(
      """
      -ix -f tx -n 5 -l 100 -l 60 -b 7 -a 1 -c 2 -p 3 -T 250 -w 4 -W -vv -R 9 -X -C 8,9 -H 12 -P file \
      -r -z -Z -N -F 2 -M 50 -I -A -B -o 4096 -o 4 -S 2:0:0:0:0:1 -D 2:0:0:0:0:2 --json --busy-wait \
      --total-rate --size-per-packet
      """)
    #expect(configuration.mode == .tx && configuration.packetLimit == 5)
    #expect(configuration.size == 100 && configuration.minimumSize == 60)
    #expect(configuration.burst == 7 && configuration.affinity == 1)
    #expect(configuration.cpus == 2 && configuration.affinityModulus == 2)
    #expect(configuration.threads == 3 && configuration.reportInterval == 250_000_000)
    #expect(configuration.linkWait == 4 && configuration.exitsWhenIdle)
    #expect(configuration.verbosity == 2 && configuration.rate == 9 && configuration.isRateTotal)
    #expect(configuration.rings == RingConfiguration("8,9"))
    #expect(configuration.virtioHeaderLength == 12 && configuration.packetFile == "file")
    #expect(configuration.fragments == 2 && configuration.fragmentSize == 50)
    #expect(configuration.scaling == .plain && configuration.framingBits == 192)
    #expect(configuration.options.rawValue == 64 + 256 + 512 + 1024 + 32 + 2048 + 4096 + 4)
    #expect(configuration.sourceMACText == "2:0:0:0:0:1")
    #expect(configuration.destinationMACText == "2:0:0:0:0:2")
    #expect(configuration.printsJSON && configuration.busyWaits && configuration.sizePerPacket)
  }

  @Test("numbers may end in k, K, M or G, which are powers of 1000")
  func suffixes() throws {
    #expect(try read("-i x -R 1k").rate == 1000)
    #expect(try read("-i x -R 2K -n 10k").packetLimit == 10_000)
    let many = try read("-i x -n 3M -R 4G -l 1k -T 2k -b 1k")
    #expect(many.packetLimit == 3_000_000 && many.rate == 4_000_000_000)
    #expect(many.size == 1000 && many.reportInterval == 2_000_000_000 && many.burst == 1000)
    #expect(try read("-i x -n 99999999999G").packetLimit == UInt64(Int.max))
    #expect(try read("-i x -C 1k,2k").rings?.hints.receiveSlots == 2000)
  }

  @Test("pkt-gen-b never sleeps")
  func busyWaitByName() throws {
    #expect(try read("-i x", name: "pkt-gen-b").busyWaits)
    #expect(try !read("-i x").busyWaits)
  }

  @Test("without -c, and with -c 0, threads may use every CPU")
  func cpus() throws {
    #expect(try read("-i x -a 0").affinityModulus == 4)
    let all = try read("-i x -c 0")
    #expect(all.cpus == 4 && all.affinityModulus == 4)
  }

  @Test("a range turns copying on; defaults depend on the family; equal sizes are one size")
  func consequences() throws {
    #expect(try read("-i x -s 10.0.0.1-10.0.0.2").options.contains(.copy))
    #expect(try read("-i x -d 10.0.0.1:1-10.0.0.1:2").options.contains(.copy))
    #expect(try !read("-i x -s 10.0.0.1-10.0.0.1").options.contains(.copy))
    #expect(try read("-i x -6").destinationText == "fd00:1::1")
    #expect(try read("-i x -6 -4").sourceText == "10.0.0.1")
    let equal = try read("-i x -l 80 -l 80")
    #expect(equal.minimumSize == nil && equal.size == 80)
    #expect(try read("-i x -f ping -l 16").size == 54)
    #expect(try read("-i x -f ping -6").size == 74)
    #expect(try read("-i x -f pong").burst == 1)
  }

  @Test("each thread gets its share, the first ones the remainder")
  func shares() throws {
    let configuration = try read("-i x -n 11 -p 4")
    #expect(configuration.threads == 4)
    #expect((0..<4).map { configuration.packetLimit(ofThread: $0) } == [3, 3, 3, 2])
  }

  @Test(
    "refusals end with status 255 and, for bad usage, the usage text",
    arguments: [
      ("", "missing ifname", true), ("-i x -q", "bad option -q", true),
      ("-i", "bad option -i", true),
      ("-i x -l 15", "bad pktsize 15 [16..65536]", true),
      ("-i x -l 65537", "bad pktsize 65537", true),
      ("-i x -l 60 -l 61", "bad pktminsize 61 [16..60]", true),
      ("-i x -l 60 -l 15", "bad pktminsize 15", true),
      ("-i x -c 5", "5 cpus is too high, have only 4 cpus", true),
      ("-i x -c -1", "-1 cpus is too high", true), ("-i x -S zz", "invalid MAC address 'zz'", true),
      ("-i x -D 1:2", "invalid MAC address '1:2'", true),
      ("-i x -H 11", "bad virtio-net-header length", true),
      ("-i x -s y", "'y' is not an IPv4", true),
      ("-i x -R -1", "bad rate -1", true), ("-i x -f dance", "unrecognised function dance", false),
    ])
  func refusals(_ row: (line: String, message: String, usage: Bool)) {
    let error = #expect(throws: Refusal.self) { try read(row.line) }
    #expect(error?.message.contains(row.message) == true)
    #expect(error?.status == 255)
    #expect(error?.showsUsage == row.usage)
  }

  @Test("options that only cause a warning")
  func warnings() throws {
    let log = Recorder()
    let long = String(repeating: "x", count: 505)
    let configuration = try read("-i y -i \(long) -F 64 -l 70x -C 1 word", log: log)
    #expect(configuration.interface == .netmap("netmap:y"))
    #expect(configuration.fragments == 1 && configuration.size == 70)
    for line in [
      "ifname too long", "invalid frags 64 [1..63], ignore", "'70x' is not a whole number",
      "the 'C' option is deprecated", "ignored 'word'",
    ] { #expect(log.has(line)) }
  }

  @Test("-h and --help", arguments: ["-h", "--help", "-i x -h -q"])
  func help(_ line: String) throws {
    let outcome = try CommandLineReader.read(
      line.split(separator: " ").map(String.init), program: "pkt-gen", cpuCount: 1,
      log: ToolLog(to: Recorder().sink))
    guard case .help = outcome else {
      Issue.record("no help")
      return
    }
  }
}
