/// netmap's `ioctl` layer: takes a command and an address from a program, and asks a server for what they request.
///
/// The layer copies structures from the program's memory, checks them, and copies the answers back. It has no state
/// and takes no lock, so any thread may use it at any time. Nothing that a program passes makes it trap.
///
/// It does what netmap's Linux module does before and after a request reaches the port that it is about. Differences
/// are in docs/decisions/0070-the-request-layer.md.
package struct RequestLayer<Memory: UserMemory, Server: RequestServer> {
  let memory: Memory
  let server: Server

  /// Creates a layer between a program and the server of one of its descriptors.
  ///
  /// - Parameters:
  ///   - memory: The program's memory.
  ///   - server: Serves the requests on the descriptor.
  package init(memory: Memory, server: Server) {
    self.memory = memory
    self.server = server
  }

  /// Performs `ioctl(descriptor, command, argument)`.
  ///
  /// Blocks as long as the server does.
  ///
  /// - Parameters:
  ///   - command: The command. Only its low 32 bits count.
  ///   - argument: The address of the structure that the command takes. The two sync commands ignore it.
  /// - Returns: The `errno` of a failure; nil after success.
  package func perform(_ command: UInt, _ argument: UInt64) -> RequestErrno? {
    do throws(RequestErrno) {
      switch IoctlCommand(number: command) {
      case .control:
        try exchange(argument) { (block: inout ByteBlock<88>) throws(RequestErrno) in
          var header = RequestHeader(block: block)
          defer { block = header.block }
          try control(&header)
        }
      case .legacyRegister: try legacy(argument, .legacyRegister)
      case .legacyInfo: try legacy(argument, .legacyInfo)
      case .configure:
        try exchange(argument) { (block: inout ByteBlock<272>) throws(RequestErrno) in
          try configure(&block)
        }
      case .synchronizeTransmit: try server.synchronizeTransmit()
      case .synchronizeReceive: try server.synchronizeReceive()
      case nil: throw .unsupported
      }
      return nil
    } catch {
      return error
    }
  }

  /// Copies the structure at `argument`, has `body` handle it, and copies it back, also if `body` refuses it.
  ///
  /// - Throws: ``RequestErrno``: `EINVAL` for a null argument, `EFAULT` if the structure cannot be read, or cannot be
  ///   written afterwards whatever `body` has done; else what `body` throws.
  func exchange<let size: Int>(
    _ argument: UInt64,
    _ body: (inout ByteBlock<size>) throws(RequestErrno) -> Void
  ) throws(RequestErrno) {
    guard argument != 0 else { throw .invalidArgument }
    var block = ByteBlock<size>()
    guard block.copyIn(from: argument, memory) else { throw .badAddress }
    var failure: RequestErrno?
    do throws(RequestErrno) { try body(&block) } catch { failure = error }
    guard block.copyOut(to: argument, memory) else { throw .badAddress }
    if let failure { throw failure }
  }

  private func configure(_ block: inout ByteBlock<272>) throws(RequestErrno) {
    typealias Layout = RequestLayout.Configuration
    let name = RequestName(block.bytes, at: Layout.name, limit: Layout.nameByteCount)
    var call = ConfigureCall(name: name, data: block.field(at: Layout.data))
    defer { block.store(call.data, at: Layout.data) }
    try server.configure(&call)
  }
}
