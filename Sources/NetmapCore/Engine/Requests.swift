/// A `NETMAP_REQ_REGISTER` request.
package struct RegisterRequest: Sendable {
  package var name: PortName
  package var selection: RingSelection
  package var flags: BindingFlags
  package var extensions: PortExtensions
  /// `nr_mem_id`: the region to use; 0 lets netmap choose.
  package var memoryID: UInt16
  /// Ring and slot counts. They matter only if this request creates the port.
  package var hints: RingGeometryHints
  /// `nr_extra_bufs`: buffers wanted beyond those of the rings. Fewer may be given.
  package var extraBuffers: Int
  /// `NETMAP_REQ_OPT_OFFSETS`.
  package var offsets: OffsetsOption?
  /// `NETMAP_REQ_OPT_EXTMEM`: the memory that is to be the region. It goes before ``memoryID``.
  package var memory: ProgramMemory?
  /// The backend the user insists on, for network interfaces.
  package var backend: PortSpecification.BackendChoice?

  package init(
    name: PortName, selection: RingSelection = .allHardware, flags: BindingFlags = [],
    extensions: PortExtensions = [], memoryID: UInt16 = 0, hints: RingGeometryHints = .none,
    extraBuffers: Int = 0,
    offsets: OffsetsOption? = nil, backend: PortSpecification.BackendChoice? = nil
  ) {
    self.name = name
    self.selection = selection
    self.flags = flags
    self.extensions = extensions
    self.memoryID = memoryID
    self.hints = hints
    self.extraBuffers = extraBuffers
    self.offsets = offsets
    self.backend = backend
  }
}

/// A request for packets that do not begin at the first byte of their buffer: each slot's `ptr`
/// says where they begin.
package struct OffsetsOption: Hashable, Sendable {
  /// Largest offset, bytes.
  package var max: UInt64
  /// Written into every slot of the rings this binding is the first to hold.
  package var initial: UInt64
  /// How many low bits of `ptr` are the offset; 0 stands for all 64.
  package var bits: UInt32
  /// Smallest distance between two packets in one buffer; 0 for none.
  package var minimumGap: UInt64

  package init(max: UInt64, initial: UInt64, bits: UInt32 = 0, minimumGap: UInt64 = 0) {
    self.max = max
    self.initial = initial
    self.bits = bits
    self.minimumGap = minimumGap
  }
}

/// A binding: the engine's answer to a register request.
package struct Registration: Sendable {
  /// Names the binding to the engine that made it.
  package let id: BindingID
  package let name: PortName
  /// Where the binding's state lies in the sync segment.
  package let bindingIndex: Int
  /// `nr_offset`: where the `netmap_if` lies in the region.
  package let interfaceOffset: Int
  /// `nr_memsize`, bytes.
  package let memorySize: Int
  package let memoryID: UInt16
  /// All rings of the port, whichever of them were selected.
  package let geometry: PortGeometry
  /// How many extra buffers were given.
  package let extraBuffers: Int
  /// The largest offset in force, when the request asked for offsets.
  package let offsetMax: UInt64?
  package let region: SharedMemory
  package let segment: SyncSegment
  /// The backend that drives the port, when it is a network interface or isolated.
  package var backend: BackendDescription?
  /// The port's place on a switch; nil when it is on none.
  package var place: SwitchAddress?
  /// The number of the port's set of monitors, which no other set of the engine ever gets.
  package var monitors: UInt64 = 0
  /// Of a monitor: the number of the set that it belongs to.
  package var monitored: UInt64?
  /// What the port's syncs do without being asked.
  package var defaults: SyncDefaults = []

  package init(
    id: BindingID, name: PortName, bindingIndex: Int, interfaceOffset: Int, memorySize: Int,
    memoryID: UInt16, geometry: PortGeometry, extraBuffers: Int, offsetMax: UInt64?,
    region: SharedMemory, segment: SyncSegment, backend: BackendDescription?
  ) {
    self.id = id
    self.name = name
    self.bindingIndex = bindingIndex
    self.interfaceOffset = interfaceOffset
    self.memorySize = memorySize
    self.memoryID = memoryID
    self.geometry = geometry
    self.extraBuffers = extraBuffers
    self.offsetMax = offsetMax
    self.region = region
    self.segment = segment
    self.backend = backend
  }
}

/// Names one binding of one engine. The engine never reuses it.
package struct BindingID: Hashable, Sendable {
  package let number: UInt64

  package init(number: UInt64) {
    self.number = number
  }
}

/// The answer to `NETMAP_REQ_PORT_INFO_GET`.
package struct PortInfo: Hashable, Sendable {
  package let memorySize: Int
  package let memoryID: UInt16
  /// Nil in the answer to a question about memory only.
  package let geometry: PortGeometry?

  package init(memorySize: Int, memoryID: UInt16, geometry: PortGeometry?) {
    self.memorySize = memorySize
    self.memoryID = memoryID
    self.geometry = geometry
  }
}

/// The answer to `NETMAP_REQ_POOLS_INFO_GET`.
package struct PoolsInfo: Hashable, Sendable {
  package let memorySize: Int
  package let memoryID: UInt16
  package let interfaces: RegionLayout.Pool
  package let rings: RegionLayout.Pool
  /// The offset is that of buffer 0, not of its chunk: programs compute addresses of buffers from it.
  package let buffers: RegionLayout.Pool

  package init(
    memorySize: Int, memoryID: UInt16, interfaces: RegionLayout.Pool, rings: RegionLayout.Pool,
    buffers: RegionLayout.Pool
  ) {
    self.memorySize = memorySize
    self.memoryID = memoryID
    self.interfaces = interfaces
    self.rings = rings
    self.buffers = buffers
  }
}
