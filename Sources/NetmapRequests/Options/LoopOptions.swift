/// Event descriptors for the sync loop: `NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS`.
package struct RequestedEventDescriptors: Hashable, Sendable {
  /// The descriptors of one ring. A negative number stands for none.
  package struct Ring: Hashable, Sendable {
    /// `ioeventfd`: the program wakes the loop.
    package let toEngine: Int32
    /// `irqfd`: the loop wakes the program.
    package let toApplication: Int32
  }

  /// `nro_size`, as the program gave it: 24 bytes and 8 for each ring. The server compares it with the number of rings.
  package let size: UInt64
  /// One entry for each 8 bytes of the option's body: the bound transmit rings, then the bound receive rings.
  package let rings: [Ring]
  /// What the server makes of the option.
  package var status = OptionStatus.unrecognized
}

/// How the sync loop handles events: `NETMAP_REQ_OPT_SYNC_KLOOP_MODE`.
package struct RequestedLoopMode: Hashable, Sendable {
  /// `mode`: `NM_OPT_SYNC_KLOOP_*`. Other bits are the server's to refuse.
  package let rawValue: UInt32
  /// What the server makes of the option.
  package var status = OptionStatus.unrecognized
}

extension OptionList {
  var eventDescriptors: RequestedEventDescriptors? {
    guard let entry = self[.eventDescriptors] else { return nil }
    typealias Layout = RequestLayout.EventDescriptors
    let body = bodyRange(entry)
    let starts = stride(from: 0, through: body.count - Layout.stride, by: Layout.stride)
    var rings: [RequestedEventDescriptors.Ring] = []
    for start in starts {
      rings.append(
        .init(
          toEngine: buffer.load(body.lowerBound + start + Layout.toEngine),
          toApplication: buffer.load(body.lowerBound + start + Layout.toApplication)))
    }
    return RequestedEventDescriptors(size: size(entry), rings: rings)
  }

  var loopMode: RequestedLoopMode? {
    guard let entry = self[.loopMode] else { return nil }
    return RequestedLoopMode(rawValue: buffer.load(entry.body + RequestLayout.LoopMode.mode))
  }

  /// Stores the statuses that the server has set.
  mutating func store(_ descriptors: RequestedEventDescriptors?, _ mode: RequestedLoopMode?) {
    if let descriptors, let entry = self[.eventDescriptors] { store(descriptors.status, entry) }
    if let mode, let entry = self[.loopMode] { store(mode.status, entry) }
  }
}
