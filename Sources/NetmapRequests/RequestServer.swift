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
  /// blocks. If it returns although the call has options that it has not used (``RegisterCall/hasUnusedOptions``),
  /// the layer calls ``undoRegister()`` and refuses the request.
  ///
  /// - Throws: ``RequestErrno``, after undoing whatever the attempt has done.
  func register(_ call: inout RegisterCall) throws(RequestErrno) -> RegisterAnswer

  /// Ends the binding that ``register(_:)`` has just made, because the request had options that it did not use. The
  /// descriptor can be bound again.
  func undoRegister()

  /// Describes a port's rings and memory, or memory alone.
  ///
  /// - Throws: ``RequestErrno``: why the port could not be opened, or `EINVAL` for a region that does not exist.
  func portInfo(_ call: PortInfoCall) throws(RequestErrno) -> PortInfoAnswer

  /// Describes the pools of a port's region.
  ///
  /// - Throws: ``RequestErrno``: why the port could not be opened; `ENXIO` for an empty name.
  func poolsInfo(_ call: PoolsInfoCall) throws(RequestErrno) -> PoolsDescription

  /// Puts an interface or a persistent port on a switch.
  ///
  /// - Throws: ``RequestErrno``: why not. Nothing has changed then.
  func attach(_ call: AttachCall) throws(RequestErrno) -> AttachAnswer

  /// Takes a port off its switch.
  ///
  /// - Returns: `port_index`: the port's former place.
  /// - Throws: ``RequestErrno``: why not. Nothing has changed then.
  func detach(_ name: RequestName) throws(RequestErrno) -> UInt32

  /// Finds a port by its name, or by its place.
  ///
  /// - Throws: ``RequestErrno``: `ENOENT` if there is no such port, or no port from that place on.
  func list(_ call: ListCall) throws(RequestErrno) -> ListAnswer

  /// Sets the length of the virtio-net header of a port.
  ///
  /// - Parameters:
  ///   - length: 0, 10 or 12 bytes; the layer refuses other lengths.
  ///   - name: The port.
  /// - Throws: ``RequestErrno``: why there is no such port, or why its header stays.
  func setHeaderLength(_ length: UInt32, of name: RequestName) throws(RequestErrno)

  /// The length of the virtio-net header of a port, in bytes.
  ///
  /// - Throws: ``RequestErrno``: why there is no such port.
  func headerLength(of name: RequestName) throws(RequestErrno) -> UInt32

  /// Creates a persistent port, and stores its counts and its region in the call.
  ///
  /// - Throws: ``RequestErrno``: why not. The call does not return to the program then.
  func createInterface(_ call: inout NewInterfaceCall) throws(RequestErrno)

  /// Removes a persistent port.
  ///
  /// - Throws: ``RequestErrno``: why not.
  func removeInterface(_ name: RequestName) throws(RequestErrno)

  /// Serves an interface on a switch from threads on the CPUs that the call names.
  ///
  /// - Throws: ``RequestErrno``: why not; `EINVAL` for an unknown mode.
  func startPolling(_ call: PollingCall) throws(RequestErrno)

  /// Ends what ``startPolling(_:)`` has begun.
  ///
  /// - Throws: ``RequestErrno``: why not.
  func stopPolling(_ call: PollingCall) throws(RequestErrno)

  /// Puts the descriptor into CSB mode. The layer sets the option's status from the result.
  ///
  /// - Throws: ``RequestErrno``: why not, for instance `EFAULT` for addresses that cannot be used.
  func enableControlBlocks(_ blocks: RequestedControlBlocks) throws(RequestErrno)

  /// Runs the sync loop until another thread stops it. Blocks.
  ///
  /// - Throws: ``RequestErrno``: why the loop has not run. The statuses of the options return to the program.
  func startLoop(_ call: inout StartLoopCall) throws(RequestErrno)

  /// Stops the sync loop, and returns when it has ended.
  ///
  /// - Throws: ``RequestErrno``: `ENXIO` if the descriptor is not bound.
  func stopLoop() throws(RequestErrno)

  /// Passes a message to the module of a switch.
  ///
  /// - Throws: ``RequestErrno``: what the module says; `EINVAL` if there is no such switch, or its module takes no
  ///   messages. The data of the call return to the program also then.
  func configure(_ call: inout ConfigureCall) throws(RequestErrno)

  /// `NIOCTXSYNC` on all transmit rings of the binding.
  ///
  /// - Throws: ``RequestErrno``: `ENXIO` if the descriptor is not bound, `EBUSY` in CSB mode, `EIO` if the port has
  ///   gone.
  func synchronizeTransmit() throws(RequestErrno)

  /// `NIOCRXSYNC` on all receive rings of the binding.
  ///
  /// - Throws: ``RequestErrno``, as ``synchronizeTransmit()``.
  func synchronizeReceive() throws(RequestErrno)
}
