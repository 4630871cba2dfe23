internal import CNetmap

extension LegacyRequest {
  /// Translates a `NIOCGINFO`
  func translatedInfo() -> TranslatedRequest {
    var result = TranslatedRequest()
    result.header.store(name)
    if command == NETMAP_BDG_LIST {
      result.type = .list
      result.body.store(argument1, at: RequestLayout.List.switchIndex)
      result.body.store(UInt32(argument2), at: RequestLayout.List.portIndex)
    } else {
      typealias Layout = RequestLayout.PortInfo
      result.type = .portInfo
      result.body.store(UInt64(memorySize), at: Layout.memorySize)
      result.body.store(counts, Layout.counts)
      result.body.store(argument2, at: Layout.memoryID)
    }
    return result
  }

  /// Translates a `NIOCREGIF`
  ///
  /// - Throws: ``RequestErrno``: `ENOMEM` for the two commands of netmap that never worked.
  func translatedRegister() throws(RequestErrno) -> TranslatedRequest {
    var result = TranslatedRequest()
    result.header.store(name)
    switch command {
    case 0:
      result.type = .register
      try storeBinding(in: &result)
    case NETMAP_BDG_ATTACH:
      result.type = .attach
      try storeBinding(in: &result)
      let withHost = Int32(argument1) & NETMAP_BDG_HOST != 0
      result.body.store(
        UInt32(withHost ? NR_REG_NIC_SW : NR_REG_ALL_NIC), at: RequestLayout.Register.mode)
    case NETMAP_BDG_DETACH: result.type = .detach
    case NETMAP_BDG_VNET_HDR, NETMAP_VNET_HDR_GET:
      result.type = command == NETMAP_BDG_VNET_HDR ? .setHeaderLength : .headerLength
      result.body.store(UInt32(argument1), at: RequestLayout.PortHeader.length)
    case NETMAP_BDG_NEWIF:
      result.type = .createInterface
      result.body.store(counts, RequestLayout.NewInterface.counts)
      result.body.store(argument2, at: RequestLayout.NewInterface.memoryID)
    case NETMAP_BDG_DELIF: result.type = .removeInterface
    case NETMAP_BDG_POLLING_ON, NETMAP_BDG_POLLING_OFF:
      result.type = command == NETMAP_BDG_POLLING_ON ? .startPolling : .stopPolling
      storePolling(in: &result.body)
    case NETMAP_PT_HOST_CREATE, NETMAP_PT_HOST_DELETE: throw .outOfMemory
    default: result.type = nil
    }
    return result
  }
}

extension LegacyRequest {
  /// The mode in `nr_flags`; 0 if the request is of the time when bits of `nr_ringid` selected the rings.
  private var mode: Int { Int(flags & UInt32(NR_REG_MASK)) }

  private var ringNumber: Int32 { ringID & NETMAP_RING_MASK }

  /// Stores a `struct nmreq_register`, and the name of a pipe end.
  fileprivate func storeBinding(in result: inout TranslatedRequest) throws(RequestErrno) {
    typealias Layout = RequestLayout.Register
    result.body.store(UInt64(block.load(Self.Layout.offset, as: UInt32.self)), at: Layout.offset)
    result.body.store(UInt64(memorySize), at: Layout.memorySize)
    result.body.store(counts, Layout.counts)
    result.body.store(argument2, at: Layout.memoryID)
    result.body.store(argument3, at: Layout.extraBuffers)
    result.body.store(registerFlags, at: Layout.flags)
    switch mode {
    case NR_REG_PIPE_MASTER, NR_REG_PIPE_SLAVE:
      var name = name
      let bracket: UInt8 = mode == NR_REG_PIPE_MASTER ? UInt8(ascii: "{") : UInt8(ascii: "}")
      guard name.append(bracket, number: ringNumber) else { throw .outOfMemory }
      result.header.store(name)
      result.body.store(UInt32(NR_REG_ALL_NIC), at: Layout.mode)
    default:
      result.body.store(UInt32(newMode), at: Layout.mode)
      result.body.store(UInt16(ringNumber), at: Layout.ringID)
    }
  }

  private var newMode: Int {
    if mode != NR_REG_DEFAULT { return mode }
    if ringID & NETMAP_SW_RING != 0 { return NR_REG_SW }
    return ringID & NETMAP_HW_RING != 0 ? NR_REG_ONE_NIC : NR_REG_ALL_NIC
  }

  private var registerFlags: UInt64 {
    var result = UInt64(flags & ~UInt32(NR_REG_MASK))
    if ringID & NETMAP_NO_TX_POLL != 0 { result |= UInt64(NR_NO_TX_POLL) }
    if ringID & NETMAP_DO_RX_POLL != 0 { result |= UInt64(NR_DO_RX_POLL) }
    return result
  }

  fileprivate func storePolling(in body: inout RequestBody) {
    typealias Layout = RequestLayout.Polling
    let pollingMode =
      switch mode {
      case NR_REG_ONE_NIC: NETMAP_POLLING_MODE_MULTI_CPU
      case NR_REG_ALL_NIC: NETMAP_POLLING_MODE_SINGLE_CPU
      default: Int32(0)
      }
    body.store(UInt32(pollingMode), at: Layout.mode)
    body.store(UInt32(ringNumber), at: Layout.firstCPU)
    body.store(UInt32(argument1), at: Layout.cpuCount)
  }
}

extension RequestName {
  /// Appends a bracket and a number.
  ///
  /// - Returns: False if the name is too long for both.
  fileprivate mutating func append(_ bracket: UInt8, number: Int32) -> Bool {
    guard append(bracket) else { return false }
    for digit in String(number).utf8 where !append(digit) { return false }
    return true
  }
}
