import Netmap
import PktGenCore
import Synchronization
import Testing
import ToolSupport

/// Text that threads write.
final class Recorder: Sendable {
  private let content = Mutex("")

  var text: String { content.withLock { $0 } }
  var lines: [String] { text.split(separator: "\n").map(String.init) }
  var sink: TextSink {
    TextSink { [self] text in content.withLock { $0 += text } }
  }

  /// Whether some line contains `text`.
  func has(_ text: String) -> Bool { lines.contains { $0.contains(text) } }

  func count(_ text: String) -> Int { lines.count { $0.contains(text) } }
}

/// A run of pkt-gen in a separate thread, on an engine of the test.
final class Run {
  let output = Recorder()
  let log = Recorder()
  private let stopRequest = StopRequest()
  private let status = Outcome()
  private let thread: WorkerThread

  private final class Outcome: Sendable {
    let value = Mutex<CInt?>(nil)
  }

  /// Starts pkt-gen, with arguments that are separated by blanks.
  init(_ command: String, _ engine: EmbeddedEngine, name: String = "pkt-gen") throws {
    let arguments = [name] + command.split(separator: " ").map(String.init)
    let surroundings = Session.Surroundings(
      output: output.sink, log: ToolLog(to: log.sink), engine: engine)
    let (status, stop, errors) = (status, stopRequest, log.sink)
    thread = try #require(
      WorkerThread {
        let code = Command.run(arguments, surroundings, errors: errors, stop: stop)
        status.value.withLock { $0 = code }
      })
  }

  func stop() { stopRequest.request() }

  /// Waits until the run has ended.
  ///
  /// - Returns: The exit status; -1 when the run does not end in a minute, which fails the test.
  func wait() -> CInt {
    for _ in 0..<60_000 {
      if let code = status.value.withLock({ $0 }) {
        thread.join()
        return code
      }
      Clock.sleep(nanoseconds: 1_000_000)
    }
    Issue.record("pkt-gen has not ended in 60 s; it said: \(log.text)")
    stopRequest.request()
    return -1
  }

  /// Waits until the log has `text`.
  func waitFor(_ text: String) throws {
    for _ in 0..<5000 {
      if log.has(text) { return }
      Clock.sleep(nanoseconds: 1_000_000)
    }
    Issue.record("no '\(text)' in \(log.text)")
  }
}

extension NetmapPort {
  /// Takes slots until there are `count`, or none has arrived for a while.
  func takeSlots(_ count: Int) throws -> [(bytes: [UInt8], flags: SlotFlags)] {
    var result: [(bytes: [UInt8], flags: SlotFlags)] = []
    var idle = 0
    while result.count < count && idle < 20 {
      let ready = try wait(for: .receive, timeout: .milliseconds(100))
      idle = ready.isEmpty ? idle + 1 : 0
      for index in 0..<receiveRingCount {
        var ring = receiveRing(index)
        while result.count < count, let packet = ring.nextSlot() {
          let bytes = (0..<packet.bytes.byteCount).map { packet.bytes[$0] }
          result.append((bytes, packet.slot.flags))
        }
      }
    }
    try sync(.receive)
    return result
  }
}

/// The headers of a UDP frame, and whether they are valid.
struct DecodedFrame: Hashable {
  var source: [UInt8]
  var destination: [UInt8]
  var sourcePort: UInt16
  var destinationPort: UInt16
  var isValid: Bool

  init(_ frame: [UInt8]) {
    let isIPv4 = frame[12] == 0x08
    let udp = isIPv4 ? 34 : 54
    source = Array(isIPv4 ? frame[26..<30] : frame[22..<38])
    destination = Array(isIPv4 ? frame[30..<34] : frame[38..<54])
    func word(_ offset: Int) -> UInt16 { UInt16(frame[offset]) << 8 | UInt16(frame[offset + 1]) }
    sourcePort = word(udp)
    destinationPort = word(udp + 2)
    let length = Int(word(udp + 4))
    let ipLength = isIPv4 ? Int(word(16)) - 20 : Int(word(18))
    isValid = length == ipLength && udp + length <= frame.count && word(udp + 6) != 0
    guard isValid else { return }
    func sum(_ bytes: some Sequence<UInt8>) -> Int {
      bytes.enumerated().reduce(0) { $0 + Int($1.element) << ($1.offset % 2 == 0 ? 8 : 0) }
    }
    let pseudo = sum(source + destination) + 17 + length
    isValid = (pseudo + sum(frame[udp..<udp + length])) % 0xffff == 0
    if isIPv4 { isValid = isValid && sum(frame[14..<34]) % 0xffff == 0 }
  }
}
