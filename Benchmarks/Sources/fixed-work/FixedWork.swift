internal import Glibc
internal import Netmap

/// Moves a known number of packets through a pipe or a switch, with both ends on one thread.
///
/// Usage: `fixed-work PACKETS BATCH [WAY]`. The ways `untouched` and `touched` move whole batches through a pipe,
/// as `netmap bench` does; `single` appends and takes packets one by one, untouched. `vale` moves whole batches
/// between two ports of a switch, as one flow run. `flows` does the same with two alternating flows, and `module`
/// with a module that looks at every packet: both are verdict runs. `lists` sends broadcasts, which take the
/// list path, and `backpressure` sends to a port that makes its senders wait.
///
/// This program serves to count instructions and allocations, not to measure time: run it under `valgrind
/// --tool=callgrind`, or with the malloc counter preloaded. With PACKETS 0 it does everything except the work,
/// so the difference of two counts is the work's own.
@main
struct FixedWork {
  enum Way: String {
    case untouched, touched, single, vale, flows, module, lists, backpressure

    static let switched: [Way] = [.vale, .flows, .module, .lists, .backpressure]
    var isSwitched: Bool { Self.switched.contains(self) }
  }

  /// A learning bridge that does not declare that its decisions depend on addresses only.
  private struct LearningByPacket: SwitchModule {
    static var name: String { "learning-by-packet" }
    private let learning: LearningModule

    init(configuration: String = "") throws(NetmapError) {
      learning = try LearningModule(configuration: configuration)
    }

    func lookup(_ batch: borrowing SwitchBatch) { learning.lookup(batch) }
  }

  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 3 || arguments.count == 4, let packets = Int(arguments[1]),
      let batch = Int(arguments[2]), packets >= 0, (1...1023).contains(batch),
      packets % batch == 0,
      let way = Way(rawValue: arguments.count == 4 ? arguments[3] : "untouched")
    else {
      printError(
        "usage: fixed-work PACKETS BATCH [untouched|touched|single|vale|flows|module|lists|backpressure];"
          + " whole batches only")
      exit(64)
    }
    do throws(NetmapError) {
      let engine = try EmbeddedEngine()
      let first = try NetmapPort(way.isSwitched ? "valework:a" : "netmap:work{1", engine: engine)
      let receiver = way == .backpressure ? "valework:b@backpressure" : "valework:b"
      let second = try NetmapPort(way.isSwitched ? receiver : "netmap:work}1", engine: engine)
      // One-time costs, such as page faults and symbol binding, must not be counted.
      var digest = try work(.touched, first, second, 4 * batch, batch)
      digest &+= try work(.single, first, second, batch, batch)
      if way == .module { try engine.setModule(try LearningByPacket(), of: "valework") }
      if way.isSwitched {
        try meet(first, second, flows: way == .flows ? 2 : 1, broadcasts: way == .lists)
      }
      let calls = mallocCalls()
      digest &+= try work(way, first, second, packets, batch)
      let allocations = mallocCalls().map { $0 - (calls ?? 0) }
      print(
        "{\"packets\":\(packets),\"batch\":\(batch),\"digest\":\(digest),",
        "\"mallocCalls\":\(allocations.map { "\($0)" } ?? "null")}", separator: "")
    } catch {
      printError("fixed-work: \(error)")
      exit(1)
    }
  }

  static func work(
    _ way: Way, _ first: NetmapPort, _ second: NetmapPort, _ packets: Int, _ batch: Int
  ) throws(NetmapError) -> UInt64 {
    switch way {
    case .untouched, .vale, .flows, .module, .lists, .backpressure:
      try moveUntouched(first, second, packets, batch)
    case .touched: try moveTouched(first, second, packets, batch)
    case .single: try moveOneByOne(first, second, packets, batch)
    }
  }

  /// Makes the switch learn the second port's address, and fills every buffer of the first port with a frame
  /// for it or for all ports, from one flow or from several in turn.
  static func meet(
    _ first: NetmapPort, _ second: NetmapPort, flows: Int, broadcasts: Bool
  ) throws(NetmapError) {
    let (here, there): (UInt64, UInt64) = (0x0102, 0x0202)
    var announcement = second.transmitRing(0)
    _ = announcement.append(length: 60) { writeAddresses(.max, there, to: &$0) }
    try second.sync(.transmit)
    // Twice, because one slot always stays empty.
    for _ in 0..<2 {
      var output = first.transmitRing(0)
      _ = output.append(upTo: .max, length: 60) { number, bytes in
        writeAddresses(
          broadcasts ? .max : there, here &+ UInt64(number % flows) << 16, to: &bytes)
      }
      try first.sync(.transmit)
      try second.sync(.receive)
      var input = second.receiveRing(0)
      input.skip()
    }
    try second.sync(.receive)
  }

  /// Writes the two addresses of a frame, with the first byte in the lowest bits.
  static func writeAddresses(_ target: UInt64, _ source: UInt64, to bytes: inout MutableRawSpan) {
    bytes.storeBytes(
      of: target & 0xffff_ffff_ffff | source << 48, toByteOffset: 0, as: UInt64.self)
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: source >> 16), toByteOffset: 8, as: UInt32.self)
  }

  @inline(never)
  static func moveUntouched(
    _ first: NetmapPort, _ second: NetmapPort, _ packets: Int, _ batch: Int
  ) throws(NetmapError) -> UInt64 {
    var digest: UInt64 = 0
    for _ in 0..<(packets / batch) {
      var output = first.transmitRing(0)
      _ = output.append(upTo: batch, length: 60)
      try first.sync(.transmit)
      try second.sync(.receive)
      var input = second.receiveRing(0)
      input.forEachSlot { packet in digest &+= UInt64(packet.slot.length) }
    }
    return digest
  }

  @inline(never)
  static func moveTouched(
    _ first: NetmapPort, _ second: NetmapPort, _ packets: Int, _ batch: Int
  ) throws(NetmapError) -> UInt64 {
    var digest: UInt64 = 0
    var sequence: UInt64 = 0
    for _ in 0..<(packets / batch) {
      var output = first.transmitRing(0)
      _ = output.append(upTo: batch, length: 60) { number, bytes in
        let value = sequence &+ UInt64(truncatingIfNeeded: number)
        for word in 0..<7 {
          bytes.storeBytes(of: value &+ UInt64(word), toByteOffset: word &* 8, as: UInt64.self)
        }
        bytes.storeBytes(of: UInt32(truncatingIfNeeded: value), toByteOffset: 56, as: UInt32.self)
      }
      sequence &+= UInt64(truncatingIfNeeded: batch)
      try first.sync(.transmit)
      try second.sync(.receive)
      var input = second.receiveRing(0)
      input.forEachSlot { packet in
        let bytes = packet.bytes
        guard bytes.byteCount == 60 else { return }
        for word in 0..<7 {
          digest &+= unsafe bytes.unsafeLoad(fromByteOffset: word &* 8, as: UInt64.self)
        }
        digest &+= UInt64(unsafe bytes.unsafeLoad(fromByteOffset: 56, as: UInt32.self))
      }
    }
    return digest
  }

  @inline(never)
  static func moveOneByOne(
    _ first: NetmapPort, _ second: NetmapPort, _ packets: Int, _ batch: Int
  ) throws(NetmapError) -> UInt64 {
    var digest: UInt64 = 0
    for _ in 0..<(packets / batch) {
      var output = first.transmitRing(0)
      for _ in 0..<batch { _ = output.append(length: 60) }
      try first.sync(.transmit)
      try second.sync(.receive)
      var input = second.receiveRing(0)
      while let packet = input.nextSlot() { digest &+= UInt64(packet.slot.length) }
    }
    return digest
  }

  /// The malloc counter's current count; nil when it is not preloaded.
  static func mallocCalls() -> UInt? {
    guard let symbol = unsafe dlsym(nil, "malloc_counter_calls") else { return nil }
    let function = unsafe unsafeBitCast(symbol, to: (@convention(c) () -> UInt).self)
    return function()
  }

  static func printError(_ text: String) {
    var line = text + "\n"
    line.withUTF8 { bytes in _ = unsafe write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
  }
}
