/// What `struct nmreq_register` asks for: rings of a port, and the port's shape if the request creates it.
package struct RequestedBinding: Hashable, Sendable {
  /// `nr_mode`, which may be unknown: the server checks it.
  package let mode: UInt32
  /// `nr_ringid`, which matters for some modes only.
  package let ringID: UInt16
  /// `nr_flags`, without unknown bits.
  package let flags: RegisterFlags
  /// Slot and ring counts.
  package let hints: RingCounts
  /// `nr_mem_id`: the region; 0 leaves the choice to the engine.
  package let memoryID: UInt16
  /// `nr_extra_bufs`
  package let extraBuffers: UInt32
}

/// `NETMAP_REQ_REGISTER`: binds the descriptor to rings of a port.
package struct RegisterCall: Sendable {
  /// The port.
  package let name: RequestName
  /// The rings, and the shape of the port if the request creates it.
  package let binding: RequestedBinding
  /// The memory that is to be the region, if the program gave some. The server handles it before the port.
  package var externalMemory: RequestedMemory?
  /// The offsets that the program wants, if any.
  package var offsets: RequestedOffsets?
  /// The program's control blocks, if the binding is to be in CSB mode. The server handles them last.
  package var controlBlocks: RequestedControlBlocks?
  /// Whether the request has options of other types, which no server uses.
  package let hasForeignOptions: Bool

  /// Whether an option is left that has not been used, so that the request fails however well it goes otherwise.
  ///
  /// A server may look at this when it has bound the descriptor, undo that, and throw
  /// ``RequestErrno/unsupported``, all under one lock. Then no other thread sees the binding.
  package var hasUnusedOptions: Bool {
    hasForeignOptions || externalMemory?.status == .unrecognized
      || offsets?.status == .unrecognized || controlBlocks?.status == .unrecognized
  }
}

/// The answer to ``RegisterCall``.
package struct RegisterAnswer: Hashable, Sendable {
  /// `nr_offset`: where the `struct netmap_if` lies in the region, bytes.
  package var interfaceOffset: UInt64
  /// `nr_memsize`, bytes.
  package var memorySize: UInt64
  /// `nr_mem_id`
  package var memoryID: UInt16
  /// All rings of the port, whichever of them are bound.
  package var counts: RingCounts
  /// `nr_extra_bufs`: how many extra buffers were given.
  package var extraBuffers: UInt32

  /// Creates an answer.
  package init(
    interfaceOffset: UInt64, memorySize: UInt64, memoryID: UInt16, counts: RingCounts,
    extraBuffers: UInt32
  ) {
    self.interfaceOffset = interfaceOffset
    self.memorySize = memorySize
    self.memoryID = memoryID
    self.counts = counts
    self.extraBuffers = extraBuffers
  }
}

extension RequestedBinding {
  private typealias Layout = RequestLayout.Register

  init(_ body: RequestBody) {
    mode = body.load(Layout.mode)
    ringID = body.load(Layout.ringID)
    flags = RegisterFlags(rawValue: body.load(Layout.flags))
    hints = RingCounts(body, Layout.counts)
    memoryID = body.load(Layout.memoryID)
    extraBuffers = body.load(Layout.extraBuffers)
  }
}

extension RequestBody {
  private typealias Layout = RequestLayout.Register

  mutating func store(_ answer: RegisterAnswer) {
    store(answer.interfaceOffset, at: Layout.offset)
    store(answer.memorySize, at: Layout.memorySize)
    store(answer.memoryID, at: Layout.memoryID)
    store(answer.counts, Layout.counts)
    store(answer.extraBuffers, at: Layout.extraBuffers)
  }

  /// Adds the directions of a zero-copy monitor to `nr_flags`: such a monitor sees both.
  ///
  /// The null mode goes before monitors, so netmap leaves the flags of a null port alone.
  mutating func storeMonitorDirections(of binding: RequestedBinding) {
    guard binding.flags.contains(.zeroCopyMonitor), binding.mode != 7 else { return }
    let both: RegisterFlags = [.monitorTransmit, .monitorReceive]
    store(load(Layout.flags, as: UInt64.self) | both.rawValue, at: Layout.flags)
  }
}
