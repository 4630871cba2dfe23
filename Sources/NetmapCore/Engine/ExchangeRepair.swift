// Repairs the slots whose buffers a process was exchanging between two rings when it ended (``ExchangeNote``).

extension Engine {
  /// Finishes the exchanges that a dead client has left unfinished, in bindings that still exist.
  package func finishExchanges(of tag: ClientTag) {
    try? exclusively { (state) throws(NetmapError) in
      state.finishExchanges(of: state.bindings.values) { batch, _, _ in batch.tag == tag.rawValue }
    }
  }
}

extension EngineState {
  /// Finishes the exchanges that were made through a binding that is about to be released, or with a ring that is
  /// freed with it.
  ///
  /// This happens before the engine frees any part of the binding. Otherwise the engine would free a buffer through
  /// one slot while another slot still names it. No process is exchanging buffers here any more: the last
  /// descriptor of the binding is closed, and no other binding fills the rings that are freed.
  func finishExchanges(of binding: Binding) {
    let port = binding.port
    let going = binding.record.ranges.transmit.compactMap { index in
      port[.transmit, index].users == 1 ? port[.transmit, index].offset : nil
    }
    let others = bindings.values.filter { $0.port.region === port.region }
    finishExchanges(of: [binding] + others) { batch, owner, target in
      (owner.port === port && owner.index == binding.index && batch.binding == binding.index)
        || going.contains(target)
    }
  }

  /// Visits the receive rings of bindings, and finishes their exchanges where `mayEnd` returns true.
  ///
  /// `mayEnd` gets the contents of the note, the binding whose ring has the note, and the offset of the transmit
  /// ring that the note names.
  fileprivate func finishExchanges(
    of all: some Collection<Binding>,
    where mayEnd: (ExchangeNote.Batch, Binding, _ target: Int) -> Bool
  ) {
    for binding in all {
      let port = binding.port
      for index in binding.record.ranges.receive {
        let note = unsafe port.kring(.receive, index).exchangeNote
        guard let batch = unsafe note.batch else { continue }
        let target = port.region.layout.bufferBase &- Int(truncatingIfNeeded: batch.distance)
        guard mayEnd(batch, binding, target) else { continue }
        if let ring = unsafe port.region.namedRing(at: target), port[.receive, index].offset != nil
        {
          unsafe note.finish(batch, from: port.ringPlacement(.receive, index).ring, to: ring)
        } else {
          // The note names no ring: there is nothing to repair.
          unsafe note.end()
        }
      }
    }
  }
}
