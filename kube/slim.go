package kube

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// slimMeta returns the metadata that is kept. The resourceVersion is needed by
// the informer.
func slimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}

// typed fills a typed object, without the largest part that nobody reads.
func typed(from *unstructured.Unstructured, to any) error {
	from.SetManagedFields(nil)
	return runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, to)
}

// slimClaim keeps what classify reads.
func slimClaim(u *unstructured.Unstructured) (runtime.Object, error) {
	var full corev1.PersistentVolumeClaim
	if err := typed(u, &full); err != nil {
		return nil, err
	}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: slimMeta(&full.ObjectMeta)}
	pvc.Labels, pvc.Annotations = full.Labels, ours(full.Annotations)
	pvc.Spec.VolumeName, pvc.Spec.StorageClassName = full.Spec.VolumeName, full.Spec.StorageClassName
	if class := storageClass(&full); class != "" {
		pvc.Spec.StorageClassName = &class // From the old annotation, perhaps.
	}
	pvc.Spec.Resources.Requests = onlyStorage(full.Spec.Resources.Requests)
	pvc.Status.Capacity = onlyStorage(full.Status.Capacity)
	pvc.Status.Phase = full.Status.Phase
	return pvc, nil
}

func onlyStorage(list corev1.ResourceList) corev1.ResourceList {
	if q, ok := list[corev1.ResourceStorage]; ok {
		return corev1.ResourceList{corev1.ResourceStorage: q}
	}
	return nil
}

// slimVolume keeps what classify reads.
func slimVolume(u *unstructured.Unstructured) (runtime.Object, error) {
	var full corev1.PersistentVolume
	if err := typed(u, &full); err != nil {
		return nil, err
	}
	pv := &corev1.PersistentVolume{ObjectMeta: slimMeta(&full.ObjectMeta)}
	for _, key := range []string{
		fileIDAnnotation, oldFileIDAnnotation, blockIDAnnotation, blockNameAnnotation, createdByAnnotation, provisionedAnnotation,
	} {
		if value, ok := full.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&pv.ObjectMeta, key, value)
		}
	}
	pv.Spec.PersistentVolumeSource = full.Spec.PersistentVolumeSource
	if csi := pv.Spec.CSI; csi != nil {
		pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: csi.Driver}
	}
	if ref := full.Spec.ClaimRef; ref != nil {
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: ref.Namespace, Name: ref.Name, UID: ref.UID}
	}
	return pv, nil
}

// slimNamespace keeps our annotations and the UID.
func slimNamespace(u *unstructured.Unstructured) (runtime.Object, error) {
	var full corev1.Namespace
	if err := typed(u, &full); err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: slimMeta(&full.ObjectMeta)}
	namespace.Annotations = ours(full.Annotations)
	return namespace, nil
}
