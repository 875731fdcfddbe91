"""A run to a bundle: conversion to TFLite."""
