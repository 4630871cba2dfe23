// The list path of a VALE switch without a module: a learning bridge (`netmap_vale_learning`).
//
// ``LearningModule`` decides the same. Asking it here as a module takes up to 8 % more time for each packet
// (docs/decisions/0066).

extension Forwarder {
  /// Puts each packet of a batch on the list of its receiver, or on the broadcast list.
  @inline(__always)
  mutating func learnAndLookUp(_ count: Int) {
    // The lookup of the last packet still holds for the next one with the same addresses.
    let unknown: UInt64 = .max
    var (lastSource, lastTarget) = (unknown, unknown)
    var lastPort: UInt32?
    var index = 0
    while index < count {
      let packet = index
      let frame = unsafe frames[packet]
      let fragments = unsafe frame.fragments
      index &+= Int(fragments)
      guard unsafe !frame.isTooShort else {
        unsafe dropShort(packet)
        continue
      }
      let head = unsafe frame.bytes.loadUnaligned(as: UInt64.self)
      let target = unsafe UInt64(littleEndian: head) & SwitchView.addressMask
      let tail = unsafe frame.bytes.loadUnaligned(fromByteOffset: 4, as: UInt64.self)
      let source = UInt64(littleEndian: tail) >> 16
      if source != lastSource {
        unsafe vale.learn(source, at: port)
        lastSource = source
        lastTarget = unknown
      }
      if target != lastTarget {
        lastPort = unsafe vale.port(of: target)
        lastTarget = target
      }
      guard let receiver = lastPort else {
        unsafe append(packet, fragments, to: &broadcast)
        continue
      }
      if unsafe receiver == port {
        unsafe drop(packet, .noDestination)
        continue
      }
      unsafe append(packet, fragments, port: receiver, ring: ringIndex)
    }
  }
}
