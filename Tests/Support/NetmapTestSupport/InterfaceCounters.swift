internal import Glibc

/// The counters of an interface, as in `ip -s link`.
public struct InterfaceCounters: Hashable, Sendable {
  public let received: UInt64
  /// Frames that arrived, or should have arrived, and were dropped.
  public let receiveDrops: UInt64
  public let sent: UInt64
  public let transmitDrops: UInt64

  /// - Parameter interface: The interface's name in the calling thread's namespace.
  /// - Throws: ``ProgramError`` when there is no such interface.
  public init(_ interface: String) throws {
    // Not /proc/net, which shows the namespace of the process's first thread.
    guard let file = unsafe fopen("/proc/thread-self/net/dev", "r") else {
      throw ProgramError(text: "/proc/thread-self/net/dev: errno \(errno)")
    }
    defer { unsafe fclose(file) }
    var line = [CChar](repeating: 0, count: 512)
    while unsafe fgets(&line, CInt(line.count), file) != nil {
      let words = String(
        decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self
      )
      .split { $0 == " " || $0 == ":" || $0 == "\n" }
      guard words.first.map(String.init) == interface, words.count == 17 else { continue }
      let numbers = words.dropFirst().compactMap { UInt64($0) }
      (received, receiveDrops, sent, transmitDrops) = (
        numbers[1], numbers[3], numbers[9], numbers[11]
      )
      return
    }
    throw ProgramError(text: "no interface \(interface) in /proc/thread-self/net/dev")
  }
}
