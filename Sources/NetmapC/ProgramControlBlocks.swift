internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapRequests

/// The arrays of control blocks that a program has given for a binding in CSB mode.
///
/// The addresses are this process's. They are not in shared memory, where other processes could change them.
struct ProgramControlBlocks {
  /// `struct nm_csb_atok[]`
  let requests: UInt64
  /// `struct nm_csb_ktoa[]`
  let answers: UInt64

  init(_ request: RequestedControlBlocks) {
    requests = request.applicationToEngine
    answers = request.engineToApplication
  }

  /// The blocks, for a loop; nil if an array cannot lie there.
  var view: ControlBlocks? {
    guard let requests = unsafe UnsafeMutableRawPointer(bitPattern: UInt(requests)),
      let answers = unsafe UnsafeMutableRawPointer(bitPattern: UInt(answers))
    else { return nil }
    return unsafe ControlBlocks(requests: requests, answers: answers)
  }

  /// Checks the addresses without trusting them, in netmap's order, and fills the second array with zeros.
  ///
  /// - Parameter count: The number of rings.
  /// - Throws: ``RequestErrno``: `EINVAL` for an address that is not a multiple of 64, `EFAULT` for memory that cannot be
  ///   read, or written.
  func prepare(_ count: Int) throws(RequestErrno) {
    let size = unsafe UInt64(ControlBlock.byteCount)
    var bytes = [UInt8](repeating: 0, count: unsafe count * ControlBlock.byteCount)
    let memory = ProcessMemory()
    guard requests % size == 0 else { throw .invalidArgument }
    var span = bytes.mutableSpan
    guard memory.copyIn(from: requests, into: &span) else { throw .badAddress }
    guard answers % size == 0 else { throw .invalidArgument }
    let zeros = [UInt8](repeating: 0, count: bytes.count)
    guard memory.copyOut(zeros.span, to: answers) else { throw .badAddress }
  }

  /// Whether the memory of both arrays is still there.
  func isThere(_ count: Int) -> Bool {
    var bytes = [UInt8](repeating: 0, count: unsafe count * ControlBlock.byteCount)
    var span = bytes.mutableSpan
    let memory = ProcessMemory()
    // The words of the second array are written as they are: only the loop, which does not run, writes them.
    return memory.copyIn(from: requests, into: &span) && memory.copyIn(from: answers, into: &span)
      && memory.copyOut(bytes.span, to: answers)
  }

  /// Writes the state of a ring into its two blocks (`netmap_csb_validate`).
  func store(_ start: RingStart, at index: Int) {
    let place = unsafe UInt64(index * ControlBlock.byteCount)
    // The kicks that the application wants, and the flags of its syncs (NAF_FORCE_READ).
    write([start.head, start.cur, 1, 1], to: requests &+ place)
    // The kicks that the loop wants.
    write([start.hwcur, start.hwtail, 1], to: answers &+ place)
  }

  private func write(_ words: [UInt32], to address: UInt64) {
    let bytes = unsafe words.withUnsafeBytes { unsafe [UInt8]($0) }
    // Memory of the first array that cannot be written stays as it is, as in netmap.
    _ = ProcessMemory().copyOut(bytes.span, to: address)
  }
}

extension PortInUse {
  /// Puts the binding into CSB mode: syncs and waits are refused from now on, in this process and in processes that attach
  /// the binding later.
  ///
  /// - Parameters:
  ///   - request: The control blocks.
  ///   - identity: The token.
  /// - Throws: ``RequestErrno``: `EBUSY` while a loop runs; `EINVAL` unless the binding has its rings for itself
  ///   (`NR_EXCLUSIVE`); as ``ProgramControlBlocks/prepare(_:)``.
  func enable(
    _ request: RequestedControlBlocks, _ identity: TokenIdentity
  ) throws(RequestErrno) {
    guard !port.hasLoop else { throw .busy }
    let count = port.transmitCount + port.receiveCount
    guard count > 0 else { return }
    guard port.record.flags.contains(.exclusive) else { throw .invalidArgument }
    let blocks = ProgramControlBlocks(request)
    try blocks.prepare(count)
    port.describeRings { blocks.store($1, at: $0) }
    unsafe HalfState.controlBlocks[identity] = blocks
    unsafe port.control?.setMode(.csb)
    port.refuseSyncs()
  }
}

extension RequestErrno {
  /// `EBUSY`
  static let busy = Self(rawValue: EBUSY)
  /// `ENXIO`: the token is not bound.
  static let notBound = Self(rawValue: ENXIO)
}
