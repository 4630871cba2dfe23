internal import CLinux
internal import Glibc

/// Another host: a network namespace of its own, which ends with this object.
public final class OtherHost {
  private let program: TestProgram

  /// - Throws: ``ProgramError`` when the namespace cannot be made.
  public init() throws {
    program = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"])
    guard program.readLine() == "ready\n" else {
      throw ProgramError(text: "a network namespace cannot be made")
    }
    try run("ip", "link", "set", "lo", "up")
  }

  deinit { program.kill(SIGKILL) }

  /// Moves an interface of the calling thread's namespace to the host, and sets it up with addresses.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - addresses: IPv4 and IPv6 addresses with the lengths of their prefixes, such as `10.0.0.1/24`.
  /// - Throws: ``ProgramError`` with what ip(8) said.
  public func take(_ interface: String, _ addresses: String...) throws {
    _ = try TestProgram.output(
      of: ["ip", "link", "set", interface, "netns", "\(program.process)"])
    for address in addresses {
      let flags = address.contains(":") ? ["nodad"] : []
      try run(["ip", "address", "add", address, "dev", interface] + flags)
    }
    try run("ip", "link", "set", interface, "up")
  }

  /// Runs a program on the host, and waits for its end.
  ///
  /// - Returns: Its output.
  @discardableResult
  public func run(_ arguments: String...) throws -> String { try run(arguments) }

  @discardableResult
  private func run(_ arguments: [String]) throws -> String {
    try TestProgram.output(of: ["nsenter", "-t", "\(program.process)", "-n"] + arguments)
  }

  /// Makes a socket of the host, which the caller owns.
  func socket(_ family: CInt, _ type: __socket_type) throws -> CInt {
    let process = program.process
    // A socket stays in the namespace in which it was made.
    let thread = try NamespaceThread { () -> CInt in
      let place = unsafe open("/proc/\(process)/ns/net", O_RDONLY | O_CLOEXEC)
      guard place >= 0 else { return -1 }
      defer { close(place) }
      guard setns(place, CInt(CLINUX_CLONE_NEWNET)) == 0 else { return -1 }
      return Glibc.socket(family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    }.start()
    let result = try thread.join()
    guard result >= 0 else { throw ProgramError(text: "no socket in a network namespace") }
    return result
  }
}
