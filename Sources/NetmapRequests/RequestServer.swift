/// Serves the requests on one descriptor, with an engine or a daemon behind it.
///
/// ``RequestLayer`` calls one method for each request, after the checks of netmap's `ioctl` layer. All other checks are
/// the server's: names, modes, ring numbers, memory numbers, the state of the descriptor. A server refuses what it
/// cannot do with ``RequestErrno/unsupported``.
///
/// Several threads may call methods of one server at a time.
///
/// A structure that a method takes `inout` returns to the program. The layer uses the statuses of options also when the
/// method throws, as netmap does: an option whose status a server does not set is reported as `EOPNOTSUPP`.
package protocol RequestServer {
  /// Binds the descriptor.
  ///
  /// The server sets the status of each option that it comes to, in netmap's order: external memory, offsets, control
  /// blocks. If it leaves an option unrecognized and returns, the layer calls ``undoRegister()`` and refuses the
  /// request.
  ///
  /// - Throws: ``RequestErrno``, after undoing whatever the attempt has done.
  func register(_ call: inout RegisterCall) throws(RequestErrno) -> RegisterAnswer

  /// Ends the binding that ``register(_:)`` has just made, because the request had options that it did not recognize.
  /// The descriptor can be bound again.
  func undoRegister()

  func portInfo(_ call: PortInfoCall) throws(RequestErrno) -> PortInfoAnswer
  func poolsInfo(_ call: PoolsInfoCall) throws(RequestErrno) -> PoolsDescription
  func attach(_ call: AttachCall) throws(RequestErrno) -> AttachAnswer

  /// Takes a port off its switch.
  ///
  /// - Returns: `port_index`: the port's former place.
  func detach(_ name: RequestName) throws(RequestErrno) -> UInt32

  func list(_ call: ListCall) throws(RequestErrno) -> ListAnswer

  /// Sets the length of the virtio-net header of a port.
  ///
  /// - Parameters:
  ///   - length: 0, 10 or 12 bytes; the layer refuses other lengths.
  ///   - name: The port.
  func setHeaderLength(_ length: UInt32, of name: RequestName) throws(RequestErrno)

  /// The length of the virtio-net header of a port, in bytes.
  func headerLength(of name: RequestName) throws(RequestErrno) -> UInt32

  func createInterface(_ call: inout NewInterfaceCall) throws(RequestErrno)
  func removeInterface(_ name: RequestName) throws(RequestErrno)
  func startPolling(_ call: PollingCall) throws(RequestErrno)
  func stopPolling(_ call: PollingCall) throws(RequestErrno)

  /// Puts the descriptor into CSB mode. The layer sets the option's status from the result.
  func enableControlBlocks(_ blocks: RequestedControlBlocks) throws(RequestErrno)

  /// Runs the sync loop until another thread stops it. Blocks.
  func startLoop(_ call: inout StartLoopCall) throws(RequestErrno)

  /// Stops the sync loop, and returns when it has ended.
  func stopLoop() throws(RequestErrno)

  func configure(_ call: inout ConfigureCall) throws(RequestErrno)

  /// `NIOCTXSYNC` on all transmit rings of the binding.
  func synchronizeTransmit() throws(RequestErrno)

  /// `NIOCRXSYNC` on all receive rings of the binding.
  func synchronizeReceive() throws(RequestErrno)
}
