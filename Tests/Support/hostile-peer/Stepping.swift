import CLinux
import CTrace
import Glibc
import Netmap

/// Kills a process after a number of instructions of an operation on shared memory.
enum Stepping {
  /// Steps a child through an operation, and kills it.
  ///
  /// - Parameters:
  ///   - operation: The operation for ``child(_:)``.
  ///   - count: The number of instructions to execute.
  /// - Throws: ``AttackError`` when the child does not reach the operation.
  static func kill(_ operation: String, after count: Int) throws {
    // Binds all symbols at the start, so that the steps do not include the dynamic linker.
    unsafe setenv("LD_BIND_NOW", "1", 1)
    let child = clinux_fork()
    if child == 0 {
      let arguments = ["hostile-peer", "step-child", operation]
      var words: [UnsafeMutablePointer<CChar>?] =
        unsafe arguments.map { unsafe strdup($0) } + [nil]
      _ = unsafe execv("/proc/self/exe", &words)
      _exit(1)
    }
    var status: CInt = 0
    guard unsafe waitpid(child, &status, 0x4000_0000) == child, status & 0xff == 0x7f else {
      throw AttackError("the child did not stop: \(status)")
    }
    let done = ctrace_steps(child, count)
    Glibc.kill(child, SIGKILL)
    _ = unsafe waitpid(child, &status, 0x4000_0000)
    HostilePeer.say("killed after \(done)")
  }

  /// Opens a port, stops, performs one operation, and stops again.
  static func child(_ operation: String) throws {
    let words = operation.split(separator: ",").map(String.init)
    let port = try NetmapPort(words[1], engine: HostEngine.shared)
    if words[0] == "forward" { return try forward(port, to: words[2]) }
    if words[0] == "transmit" {
      for number in 0..<3 as Range<UInt8> { try port.inject(frame(from: 0x77, number)) }
    } else {
      try port.sync(.receive)
      var ring = port.receiveRing(0)
      _ = ring.next()
    }
    guard ctrace_me() == 0 else { HostilePeer.fail("ptrace: errno \(errno)") }
    raise(SIGSTOP)
    try port.sync(words[0] == "transmit" ? .transmit : .receive)
    raise(SIGSTOP)
    HostilePeer.waitForEnd()
  }

  /// Stops, forwards the packets that have arrived, without a sync, and stops again.
  private static func forward(_ source: NetmapPort, to name: String) throws {
    let target = try NetmapPort(name, engine: HostEngine.shared)
    guard source.sharesMemory(with: target) else {
      HostilePeer.fail("the ports lie in two regions")
    }
    try source.sync(.receive)
    guard ctrace_me() == 0 else { HostilePeer.fail("ptrace: errno \(errno)") }
    raise(SIGSTOP)
    var input = source.receiveRing(0)
    var output = target.transmitRing(0)
    input.forward(to: &output)
    raise(SIGSTOP)
    HostilePeer.waitForEnd()
  }

  private static func frame(from sender: UInt8, _ number: UInt8) -> [UInt8] {
    [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, sender, 0x88, 0xb5, number]
      + [UInt8](repeating: sender ^ number, count: 45)
  }
}
