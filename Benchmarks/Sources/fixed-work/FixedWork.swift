internal import Glibc
internal import Netmap

/// Moves a known number of packets through a pipe, both ends on one thread:
/// `fixed-work PACKETS BATCH [untouched|touched]`.
///
/// Made to be counted, not timed: run it under `valgrind --tool=callgrind`, or with the malloc counter
/// preloaded. With PACKETS 0 it does everything but the work; the difference is the work's own.
@main
struct FixedWork {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 3 || arguments.count == 4, let packets = Int(arguments[1]),
      let batch = Int(arguments[2]), packets >= 0, (1...1023).contains(batch),
      packets % batch == 0, arguments.count == 3 || ["untouched", "touched"].contains(arguments[3])
    else {
      printError("usage: fixed-work PACKETS BATCH [untouched|touched]; whole batches only")
      exit(64)
    }
    do throws(NetmapError) {
      let engine = try EmbeddedEngine()
      let first = try Port("netmap:work{1", engine: engine)
      let second = try Port("netmap:work}1", engine: engine)
      // What happens once only (faulting pages in, binding symbols) must not be counted.
      var digest = try work(first, second, 4 * batch, batch, touched: true)
      let calls = mallocCalls()
      let touched = arguments.last == "touched"
      digest &+= try work(first, second, packets, batch, touched: touched)
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
    _ first: Port, _ second: Port, _ packets: Int, _ batch: Int, touched: Bool
  ) throws(NetmapError) -> UInt64 {
    touched
      ? try moveTouched(first, second, packets, batch)
      : try moveUntouched(first, second, packets, batch)
  }

  @inline(never)
  static func moveUntouched(
    _ first: Port, _ second: Port, _ packets: Int, _ batch: Int
  ) throws(NetmapError) -> UInt64 {
    var digest: UInt64 = 0
    for _ in 0..<(packets / batch) {
      var output = first.transmitRing(0)
      for _ in 0..<batch { output.append(length: 60) }
      try first.sync(.transmit)
      try second.sync(.receive)
      var input = second.receiveRing(0)
      while let packet = input.next() { digest &+= UInt64(packet.slot.length) }
    }
    return digest
  }

  @inline(never)
  static func moveTouched(
    _ first: Port, _ second: Port, _ packets: Int, _ batch: Int
  ) throws(NetmapError) -> UInt64 {
    var digest: UInt64 = 0
    var sequence: UInt64 = 0
    for _ in 0..<(packets / batch) {
      var output = first.transmitRing(0)
      for _ in 0..<batch {
        output.append(length: 60) { bytes in
          for word in 0..<7 {
            bytes.storeBytes(of: sequence &+ UInt64(word), toByteOffset: word &* 8, as: UInt64.self)
          }
          bytes.storeBytes(
            of: UInt32(truncatingIfNeeded: sequence), toByteOffset: 56, as: UInt32.self)
        }
        sequence &+= 1
      }
      try first.sync(.transmit)
      try second.sync(.receive)
      var input = second.receiveRing(0)
      while let packet = input.next() {
        let bytes = packet.bytes
        guard bytes.byteCount == 60 else { continue }
        for word in 0..<7 {
          digest &+= unsafe bytes.unsafeLoad(fromByteOffset: word &* 8, as: UInt64.self)
        }
        digest &+= UInt64(unsafe bytes.unsafeLoad(fromByteOffset: 56, as: UInt32.self))
      }
    }
    return digest
  }

  /// What the malloc counter has counted so far; nil when it is not preloaded.
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
