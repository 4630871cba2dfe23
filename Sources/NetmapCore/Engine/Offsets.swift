extension EnginePort {
  /// Applies the offsets option to the rings of `ranges` (`netmap_offsets_init`).
  ///
  /// The first binding of a ring sets the mask and the limit; later bindings may ask for less. The
  /// two joined rings of a pipe share them.
  ///
  /// - Returns: The largest offset in force.
  /// - Throws: ``NetmapError``: `EOPNOTSUPP`, `EINVAL` or `EBUSY`.
  func apply(_ option: OffsetsOption, to ranges: RingRanges) throws(NetmapError) -> UInt64 {
    func refusal(_ code: NetmapError.Code, _ reason: String, _ remedy: String = "") -> NetmapError {
      NetmapError(code, "open", name.rawValue, reason: reason, remedy: remedy)
    }
    guard supportsOffsets else {
      throw refusal(
        .unsupported, "this port does not support packet offsets", "open it without '@offset'")
    }
    let bufferSize = UInt64(region.layout.buffers.size)
    let mask: UInt64 =
      option.bits == 0 || option.bits >= 64 ? .max : (1 << UInt64(option.bits)) - 1
    guard option.bits <= 64 else {
      throw refusal(
        .invalidArgument, "an offset cannot have \(option.bits) bits", "use at most 64 bits")
    }
    guard option.max <= bufferSize else {
      throw refusal(
        .invalidArgument, "an offset of \(option.max) bytes does not fit a buffer",
        "use at most \(bufferSize)")
    }
    guard option.max <= mask else {
      throw refusal(
        .invalidArgument, "an offset of \(option.max) does not fit \(option.bits) bits",
        "use more bits")
    }
    guard option.initial <= option.max else {
      throw refusal(
        .invalidArgument,
        "the initial offset, \(option.initial), is above the largest,"
          + " \(option.max)", "lower the initial offset")
    }
    var effective = option.max
    for direction in Direction.allCases {
      for index in ranges[direction] {
        let old = unsafe kring(direction, index)
        if unsafe old.offsetMask == 0 { continue }
        guard unsafe mask & ~old.offsetMask == 0, unsafe option.max <= old.offsetMax else {
          throw refusal(
            .busy, "another binding of ring \(index) uses smaller offsets",
            "use at most \(unsafe old.offsetMax)")
        }
        unsafe effective = max(effective, old.offsetMax)
      }
    }
    for direction in Direction.allCases {
      for index in ranges[direction] { install(option, mask, direction, index) }
    }
    return effective
  }

  private func install(
    _ option: OffsetsOption, _ mask: UInt64, _ direction: Direction, _ index: Int
  ) {
    fix(option, mask, direction, index)
    if let pair = unsafe pair {
      pair.peer(of: self).fix(option, mask, direction == .transmit ? .receive : .transmit, index)
    }
    guard option.initial != 0, self[direction, index].users == 1 else { return }
    fill(direction, index, initial: option.initial, mask)
    if let pair = unsafe pair {
      // A program that opens the other end later finds the initial offsets in its slots, and so
      // leaves that room to the receiver.
      let (peer, opposite) = (
        pair.peer(of: self), direction == .transmit ? Direction.receive : .transmit
      )
      if peer[opposite, index].users == 0 {
        peer.fill(opposite, index, initial: option.initial, mask)
      }
    }
  }

  private func fill(_ direction: Direction, _ index: Int, initial: UInt64, _ mask: UInt64) {
    guard let offset = self[direction, index].offset else { return }
    for slot in 0..<geometry.slots(direction) {
      let place = unsafe region.place(slot, ofRingAt: offset)
      unsafe place.store(pointer: (place.loadPointer() & ~mask) | initial)
    }
  }

  private func fix(
    _ option: OffsetsOption, _ mask: UInt64, _ direction: Direction, _ index: Int
  ) {
    let kring = unsafe kring(direction, index)
    guard unsafe kring.offsetMask == 0, let offset = self[direction, index].offset else { return }
    unsafe kring.offsetMask = mask
    unsafe kring.offsetMax = option.max
    unsafe kring.store(offsetGap: option.minimumGap)
    // Copies for the senders on a switch.
    unsafe kring.openOffsetMax = option.max
    unsafe kring.openOffsetMask = mask
    region.storeOffsetMask(mask, ofRingAt: offset)
  }
}
