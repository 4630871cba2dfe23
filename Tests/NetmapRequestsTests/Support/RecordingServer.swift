@testable import NetmapRequests

/// A server that notes what it is asked for, and answers as a test has told it.
final class RecordingServer: RequestServer {
  /// What the layer asked for, in order.
  var log: [String] = []
  /// Answers every request with this refusal.
  var refusal: RequestErrno?

  /// Options of a register request whose status the server sets.
  struct Recognized: OptionSet {
    let rawValue: Int
    static let externalMemory = Self(rawValue: 1)
    static let offsets = Self(rawValue: 2)
    static let controlBlocks = Self(rawValue: 4)
    static let eventDescriptors = Self(rawValue: 8)
    static let loopMode = Self(rawValue: 16)
    static let all: Self = [
      .externalMemory, .offsets, .controlBlocks, .eventDescriptors, .loopMode,
    ]
  }
  var recognized = Recognized.all
  /// The status that the server sets.
  var status = OptionStatus.accepted

  var registered: RegisterCall?
  var asked: PortInfoCall?
  var askedForPools: PoolsInfoCall?
  var attached: AttachCall?
  var listed: ListCall?
  var name: RequestName?
  var length: UInt32?
  var created: NewInterfaceCall?
  var polled: PollingCall?
  var blocks: RequestedControlBlocks?
  var loop: StartLoopCall?
  var configured: ConfigureCall?

  /// Every number differs, and those that are wider than the fields of legacy requests do not fit these.
  static let counts = {
    var counts = RingCounts()
    counts.transmitSlots = 1001
    counts.receiveSlots = 1002
    counts.transmitRings = 11
    counts.receiveRings = 12
    counts.hostTransmitRings = 13
    counts.hostReceiveRings = 14
    return counts
  }()
  var registerAnswer = RegisterAnswer(
    interfaceOffset: 0x1_0000_0040, memorySize: 0x2_0003_0000, memoryID: 77, counts: counts,
    extraBuffers: 33)
  var infoAnswer = PortInfoAnswer(memorySize: 0x3_0004_0000, memoryID: 78, counts: counts)
  var pools = {
    var pools = PoolsDescription()
    pools.memorySize = 0x5_0006_0000
    pools.memoryID = 79
    pools.interfaces = .init(offset: 0, objectCount: 100, objectSize: 1024)
    pools.rings = .init(offset: 0x19000, objectCount: 200, objectSize: 36864)
    pools.buffers = .init(offset: 0x7_0000_0000, objectCount: 16384, objectSize: 2048)
    return pools
  }()
  var attachAnswer = AttachAnswer(portIndex: 0x7_0005, memoryID: 80)
  var listAnswer = ListAnswer(switchIndex: 3, portIndex: 0x1_0009)
  var headerLengthAnswer: UInt32 = 0x2_000c

  private func note(_ what: String) throws(RequestErrno) {
    log.append(what)
    if let refusal { throw refusal }
  }

  func register(_ call: inout RegisterCall) throws(RequestErrno) -> RegisterAnswer {
    registered = call
    if recognized.contains(.externalMemory) {
      call.externalMemory?.status = status
      call.externalMemory?.pools = pools
    }
    if recognized.contains(.offsets) {
      call.offsets?.status = status
      call.offsets?.maximum = 64
    }
    if recognized.contains(.controlBlocks) { call.controlBlocks?.status = status }
    try note("register")
    return registerAnswer
  }

  func undoRegister() { log.append("undo") }

  func portInfo(_ call: PortInfoCall) throws(RequestErrno) -> PortInfoAnswer {
    asked = call
    try note("info")
    return infoAnswer
  }

  func poolsInfo(_ call: PoolsInfoCall) throws(RequestErrno) -> PoolsDescription {
    askedForPools = call
    try note("pools")
    return pools
  }

  func attach(_ call: AttachCall) throws(RequestErrno) -> AttachAnswer {
    attached = call
    try note("attach")
    return attachAnswer
  }

  func detach(_ name: RequestName) throws(RequestErrno) -> UInt32 {
    self.name = name
    try note("detach")
    return 5
  }

  func list(_ call: ListCall) throws(RequestErrno) -> ListAnswer {
    listed = call
    try note("list")
    return listAnswer
  }

  func setHeaderLength(_ length: UInt32, of name: RequestName) throws(RequestErrno) {
    (self.length, self.name) = (length, name)
    try note("set header")
  }

  func headerLength(of name: RequestName) throws(RequestErrno) -> UInt32 {
    self.name = name
    try note("header")
    return headerLengthAnswer
  }

  func createInterface(_ call: inout NewInterfaceCall) throws(RequestErrno) {
    created = call
    call.counts = Self.counts
    call.memoryID = 81
    try note("create")
  }

  func removeInterface(_ name: RequestName) throws(RequestErrno) {
    self.name = name
    try note("remove")
  }

  func startPolling(_ call: PollingCall) throws(RequestErrno) {
    polled = call
    try note("start polling")
  }

  func stopPolling(_ call: PollingCall) throws(RequestErrno) {
    polled = call
    try note("stop polling")
  }

  func enableControlBlocks(_ blocks: RequestedControlBlocks) throws(RequestErrno) {
    self.blocks = blocks
    try note("csb")
  }

  func startLoop(_ call: inout StartLoopCall) throws(RequestErrno) {
    loop = call
    if recognized.contains(.eventDescriptors) { call.eventDescriptors?.status = status }
    if recognized.contains(.loopMode) { call.mode?.status = status }
    try note("start loop")
  }

  func stopLoop() throws(RequestErrno) { try note("stop loop") }

  func configure(_ call: inout ConfigureCall) throws(RequestErrno) {
    configured = call
    call.data[0] = 0xaa
    try note("configure")
  }

  func synchronizeTransmit() throws(RequestErrno) { try note("sync tx") }
  func synchronizeReceive() throws(RequestErrno) { try note("sync rx") }
}
